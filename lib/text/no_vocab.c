/* No vocabulary is built in; with the Meson option clip_vocab a generated file takes this place. */
#include "text/vocab.h"

const unsigned char sdi_builtin_vocab[1] = {0};
const size_t sdi_builtin_vocab_size = 0;
