/* sd_stop: what was set ends the calls that take the token, whenever it was set. */
#include "sample.h"

static sd_stop *stop;

static void set_up_stop(void) {
    set_up();
    ck_ok(sd_stop_new(ctx, &stop));
}

static void tear_down_stop(void) {
    sd_stop_free(stop);
    tear_down();
}

START_TEST(a_token_is_set_and_cleared) {
    ck_assert(!sd_stop_is_set(stop));
    sd_stop_set(stop);
    sd_stop_set(stop);
    ck_assert(sd_stop_is_set(stop));
    sd_stop_clear(stop);
    ck_assert(!sd_stop_is_set(stop));
    sd_stop_set(NULL);
    sd_stop_clear(NULL);
    sd_stop_free(NULL);
    ck_assert(!sd_stop_is_set(NULL));
    sd_stop *none = (sd_stop *)1;
    ck_status(sd_stop_new(NULL, &none), SD_ERROR_ARGUMENT, "ctx is NULL");
    ck_assert_ptr_null(none);
    ck_status(sd_stop_new(ctx, NULL), SD_ERROR_ARGUMENT, "out is NULL");
}
END_TEST

/* Each call that takes a token, once with it set and once with it cleared. */
typedef sd_status (*stoppable)(void);

static sd_status load_model(void) {
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model *loaded;
    params.stop = stop;
    sd_status status = sd_model_load(ctx, tiny_folder(), &params, &loaded);
    ck_assert(!status || !loaded);
    sd_model_free(loaded);
    return status;
}

static sd_status encode_text(void) {
    const char *text = "a lake";
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    sd_cond *out;
    params.stop = stop;
    sd_status status = sd_encode_text(model, &text, 1, &params, &out);
    sd_cond_free(out);
    return status;
}

static const stoppable calls[] = {load_model, encode_text};

/* sd_context_cancel that comes before a call is lost on it; a token is not. */
START_TEST(what_was_set_before_a_call_counts) {
    sd_context_cancel(ctx);
    ck_ok(calls[_i]());
    sd_stop_set(stop);
    ck_status(calls[_i](), SD_ERROR_CANCELLED, "cancelled");
    ck_status(calls[_i](), SD_ERROR_CANCELLED, "cancelled"); /* it stays set */
    sd_stop_clear(stop);
    ck_ok(calls[_i]());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("stop");
    TCase *tcase = tcase_create("stop");
    tcase_add_checked_fixture(tcase, set_up_stop, tear_down_stop);
    tcase_add_test(tcase, a_token_is_set_and_cleared);
    tcase_add_loop_test(tcase, what_was_set_before_a_call_counts, 0, sizeof calls / sizeof *calls);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
