/* The limits of elementary.h. Code that finds them here does not know what they are. */
#include "elementary.h"

const float exp_lowest = -88.0f;
const float tanh_limit[2] = {7.99878788f, 7.99881172f};
