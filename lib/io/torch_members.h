/* Which values of a torch file are its tensors, and their names. */
#ifndef SD_IO_TORCH_MEMBERS_H
#define SD_IO_TORCH_MEMBERS_H

#include "io/pickle.h"

/* A TENSOR, or an OPAQUE value where a tensor could be. */
typedef sd_status (*sd_torch_member_fn)(void *user, const char *name, const sd_pickle_value *value);

/* Calls `fn` for each member of what the file is about: {"state_dict": {name: tensor, ...}, ...}
 * as Lightning writes it, {"string_to_param": {"*": tensor}} as the web UIs write the embeddings of
 * textual inversion, other words for the same, {name: tensor, ...}; a module's parameters in place
 * of a dictionary. Else all tensors that are anywhere, "outer.inner". */
sd_status sdi_torch_members(const sd_context *ctx, const char *path, const sd_pickle_value *root,
                            sd_torch_member_fn fn, void *user);

/* The dictionary that a value is: itself, or the items of another class; NULL: it is none. */
const sd_pickle_value *sdi_torch_dict(const sd_pickle_value *value);
/* A text that messages and hosts can show: UTF-8 without a 0, of at most SD_TORCH_MAX_NAME bytes.
 * Allocated. */
sd_status sdi_torch_text(const sd_context *ctx, const char *path, const sd_pickle_value *value,
                         char **text);

#define SD_TORCH_MAX_NAME 512

#endif
