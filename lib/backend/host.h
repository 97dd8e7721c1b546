/*
 * The boundary of the host, whose tensors are float32 and [n, c, h, w]; the device's are
 * [n, h, w, c]. Nothing else turns the one into the other. Latents are turned on the host, a piece
 * at a time; a picture comes and goes as planes, one for each channel, which the device turns.
 */
#ifndef SD_BACKEND_HOST_H
#define SD_BACKEND_HOST_H

#include "backend/exec.h"
#include "core/tensor.h"

/*
 * Between pictures of a host tensor, from `first` on, and all of a packed one of SDB_F32 on the
 * device, which has their number, or the planes of one. A host tensor that has one picture alone is
 * put as often as it is wanted. Both wait until done and do nothing while planning or after a
 * failure; the host's tensor may be NULL then.
 */
void sdi_exec_put(sd_exec *e, sdb_tensor to, const sd_tensor *from, int64_t first);
void sdi_exec_get(sd_exec *e, sd_tensor *to, int64_t first, sdb_tensor from);

/* Operations: planes [c, h, w, 1] <-> a picture [1, h, w, c] of any type. */
void sdi_op_join_planes(sd_exec *e, sdb_tensor picture, sdb_tensor planes);
void sdi_op_split_planes(sd_exec *e, sdb_tensor planes, sdb_tensor picture);

#endif
