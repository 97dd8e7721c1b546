/* What an adapter is, told to the host. */
#ifndef SD_MODEL_ADAPTER_INFO_H
#define SD_MODEL_ADAPTER_INFO_H

#include "model/adapter.h"

/* Texts live as long as the adapter. */
void sdi_adapter_info(const sd_adapter *a, sd_adapter_info *info);

#endif
