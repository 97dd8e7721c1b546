/* What a prompt, a negative prompt and the guidance scale do to the pictures. */
#include "landscape.h"

#include <math.h>

static double brightness_of(const char *prompt, const char *negative, float guidance) {
    pictures p = paint(prompt, negative, guidance > 0.0f ? 2 : 1, guidance);
    double b = brightness(&p);
    printf("'%s' without '%s', guidance %g: brightness %.1f\n", prompt, negative, guidance, b);
    free_pictures(&p);
    return b;
}

START_TEST(guidance_makes_night_darker_than_day) {
    double gap[2];
    const float scales[2] = {0.0f, 9.0f};
    for (int i = 0; i < 2; i++)
        gap[i] = brightness_of("hills by day, flat illustration", "", scales[i]) -
                 brightness_of("hills at night, flat illustration", "", scales[i]);
    ck_assert_double_lt(fabs(gap[0]), 1.0); /* 0 does not look at the prompt */
    ck_assert_double_gt(gap[1], 15.0);
}
END_TEST

START_TEST(a_red_sun_is_red_and_in_the_sky) {
    pictures red = paint("hills by day with a red sun", "", 2, 9.0f);
    pictures white = paint("hills by day with a white sun", "", 2, 9.0f);
    for (int i = 0; i < 2; i++) {
        blob b = red_blob(red.image[i]), none = red_blob(white.image[i]);
        printf("red sun: %d red pixels around (%.2f, %.2f); white sun: %d\n", b.n, b.x, b.y,
               none.n);
        ck_assert_int_gt(b.n, 400); /* a disc of radius 16 has 800 */
        ck_assert_int_lt(none.n, 40);
        ck_assert_double_lt(b.y, 0.4);
        ck_assert_double_gt(fabs(b.x - 0.5), 0.08); /* drawn on one side, never in the middle */
    }
    free_pictures(&red);
    free_pictures(&white);
}
END_TEST

START_TEST(a_negative_prompt_moves_the_picture_away) {
    double not_night = brightness_of("hills, flat illustration", "at night", 9.0f);
    double not_day = brightness_of("hills, flat illustration", "by day", 9.0f);
    ck_assert_double_gt(not_night - not_day, 20.0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {guidance_makes_night_darker_than_day,
                                  a_red_sun_is_red_and_in_the_sky,
                                  a_negative_prompt_moves_the_picture_away};
    return run_tests("landscape-prompts", tests, (int)(sizeof tests / sizeof tests[0]));
}
