/* Host tensors and the device's: see host.h. */
#include "backend/host.h"

#include <limits.h>

/* Elements that are turned at a time: as much as CUDA's copies take in one piece. */
#define PIECE ((int64_t)64 << 10)

/* Pixels [count, c] of planes that are `area` apart, and back. */
static void to_pixels(float *out, const float *planes, int64_t count, int c, int64_t area) {
    for (int k = 0; k < c; k++, planes += area)
        for (int64_t i = 0; i < count; i++)
            out[i * c + k] = planes[i];
}

static void to_planes(float *planes, const float *in, int64_t count, int c, int64_t area) {
    for (int k = 0; k < c; k++, planes += area)
        for (int64_t i = 0; i < count; i++)
            planes[i] = in[i * c + k];
}

/* How many of `area` pixels are copied at a time: one channel as it lies, more by way of room for a
 * piece, which the executor keeps. 0: there is none. */
static int64_t pixels_at_once(sd_exec *e, int64_t area, int c) {
    int64_t most = c == 1 ? INT_MAX : c < PIECE ? PIECE / c : 1, count = area < most ? area : most;
    size_t n = c == 1 ? 0 : (size_t)count * (size_t)c;
    if (n > e->room) {
        sdi_free(e->ctx, e->turning);
        e->turning = sdi_alloc_array(e->ctx, n, sizeof *e->turning);
        e->room = e->turning ? n : 0;
    }
    if (n <= e->room)
        return count;
    sdi_exec_fail(e, SD_ERROR_MEMORY);
    return 0;
}

/* Pixels `at` .. at + most - 1 of all, or up to `end`. */
static sdb_tensor piece_of(sdb_tensor t, int64_t at, int64_t most, int64_t end) {
    t = sdi_view_shape(t, 1, 1, (int)(end - at < most ? end - at : most));
    t.data = (float *)t.data + at * t.ld;
    return t;
}

/* From pixel `begin` on of all pictures. */
static void put_picture(sd_exec *e, sdb_tensor to, int64_t begin, int64_t area, const float *from) {
    int64_t most = pixels_at_once(e, area, to.c);
    for (int64_t at = 0; at < area && !e->status; at += most) {
        sdb_tensor piece = piece_of(to, begin + at, most, begin + area);
        if (to.c > 1)
            to_pixels(e->turning, from + at, piece.w, to.c, area);
        sdi_exec_upload(e, piece, to.c > 1 ? e->turning : from + at);
    }
}

static void get_picture(sd_exec *e, float *to, sdb_tensor from, int64_t begin, int64_t area) {
    int64_t most = pixels_at_once(e, area, from.c);
    for (int64_t at = 0; at < area && !e->status; at += most) {
        sdb_tensor piece = piece_of(from, begin + at, most, begin + area);
        sdi_exec_download(e, from.c > 1 ? e->turning : to + at, piece);
        if (from.c > 1 && !e->status)
            to_planes(to + at, e->turning, piece.w, from.c, area);
    }
}

/* Pictures of the host's tensor that the device's holds; 0 where nothing is to be done. */
static int64_t count_pictures(sd_exec *e, const sd_tensor *host, sdb_tensor t) {
    if (!sdi_exec_ready(e) || e->planning)
        return 0;
    return (int64_t)t.n * t.h * t.w * t.c / (host->n_elements / host->dims[0]);
}

void sdi_exec_put(sd_exec *e, sdb_tensor to, const sd_tensor *from, int64_t first) {
    int64_t n = count_pictures(e, from, to);
    for (int64_t i = 0; i < n && !e->status; i++) {
        int64_t each = from->n_elements / from->dims[0], area = each / to.c;
        put_picture(e, to, i * area, area, from->data + (first + i) % from->dims[0] * each);
    }
}

void sdi_exec_get(sd_exec *e, sd_tensor *to, int64_t first, sdb_tensor from) {
    int64_t n = count_pictures(e, to, from);
    for (int64_t i = 0; i < n && !e->status; i++) {
        int64_t each = to->n_elements / to->dims[0], area = each / from.c;
        get_picture(e, to->data + (first + i) * each, from, i * area, area);
    }
}

void sdi_op_join_planes(sd_exec *e, sdb_tensor picture, sdb_tensor planes) {
    for (int c = 0; c < picture.c; c++)
        sdi_op_copy(e, sdi_view_channels(picture, c, 1), sdi_view_batch(planes, c, 1));
}

void sdi_op_split_planes(sd_exec *e, sdb_tensor planes, sdb_tensor picture) {
    for (int c = 0; c < picture.c; c++)
        sdi_op_copy(e, sdi_view_batch(planes, c, 1), sdi_view_channels(picture, c, 1));
}
