/* A prompt, a negative prompt and the guidance scale show in the pictures. */
#include "landscape.h"

#include <math.h>

static double brightness_of(const char *prompt, const char *negative, float guidance) {
    pictures p = paint(prompt, negative, 1, guidance);
    double b = brightness(&p);
    printf("'%s' without '%s', guidance %g: brightness %.1f\n", prompt, negative, guidance, b);
    free_pictures(&p);
    return b;
}

START_TEST(guidance_makes_night_darker_than_day) {
    double gap[2];
    const float scales[2] = {0.0f, 7.5f};
    for (int i = 0; i < 2; i++)
        gap[i] = brightness_of("hills by day", "", scales[i]) -
                 brightness_of("hills at night", "", scales[i]);
    ck_assert_double_lt(fabs(gap[0]), 1.0); /* 0 does not look at the prompt */
    ck_assert_double_gt(gap[1], 60.0);
}
END_TEST

/* Red in the sky of each of `n` pictures, on the side of -1 (left) or 1 (right). */
static void check_red_sun(const char *prompt, int n, double side) {
    pictures p = paint(prompt, "", n, 7.5f);
    for (int i = 0; i < n; i++) {
        blob b = red_blob(p.image[i]);
        printf("'%s', seed %d: %d red pixels around (%.2f, %.2f)\n", prompt, i + 1, b.n, b.x, b.y);
        ck_assert_int_gt(b.n, 400); /* a disc of radius 16 has 800 */
        ck_assert_double_lt(b.y, 0.4);
        ck_assert_double_gt(side * (b.x - 0.5), 0.08); /* drawn 0.14 to 0.38 from the middle */
    }
    free_pictures(&p);
}

START_TEST(a_red_sun_is_red_and_on_the_side_asked_for) {
    check_red_sun("hills by day with a red sun on the left", 3, -1.0);
    check_red_sun("hills by day with a red sun on the right", 3, 1.0);
}
END_TEST

START_TEST(a_white_sun_is_not_red) {
    pictures white = paint("hills by day with a white sun", "", 1, 7.5f);
    blob none = red_blob(white.image[0]);
    printf("white sun: %d red pixels\n", none.n);
    ck_assert_int_lt(none.n, 40);
    free_pictures(&white);
}
END_TEST

START_TEST(a_negative_prompt_moves_the_picture_away) {
    double not_night = brightness_of("hills", "at night", 7.5f);
    double not_day = brightness_of("hills", "by day", 7.5f);
    ck_assert_double_gt(not_night - not_day, 20.0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {guidance_makes_night_darker_than_day,
                                  a_red_sun_is_red_and_on_the_side_asked_for,
                                  a_white_sun_is_not_red, a_negative_prompt_moves_the_picture_away};
    return run_tests("landscape-prompts", tests, (int)(sizeof tests / sizeof tests[0]));
}
