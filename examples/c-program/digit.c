/* Classifies one hand-drawn digit with a compiled model: what a C user of spc writes. See build.sh. */
#include <stdio.h>
#include "mnist.h"

static const char *const drawing[28] = {
  "", "", "", "",
  "          #########",
  "        ############",
  "       ####      ####",
  "       ###        ###",
  "                  ###",
  "                 ####",
  "               #####",
  "           #######",
  "           ########",
  "                #####",
  "                  ###",
  "                   ###",
  "                   ###",
  "       ##          ###",
  "       ###        ####",
  "       #####    ####",
  "         #########",
  "           #####",
  "", "", "", "", "", "",
};

int main(void) {
  static float image[28 * 28], scores[10];
  for (int y = 0; y < 28; ++y) {
    for (int x = 0; drawing[y][x] != '\0'; ++x) image[y * 28 + x] = drawing[y][x] == '#' ? 255.0f : 0.0f;
  }
  spc_context *context;
  if (mnist_create(NULL, NULL, &context) != SPC_OK) return 1;
  const void *inputs[] = {image};
  void *outputs[] = {scores};
  if (mnist_run(context, inputs, outputs) != SPC_OK) return 1;
  mnist_destroy(context);
  int best = 0;
  for (int i = 1; i < 10; ++i) {
    if (scores[i] > scores[best]) best = i;
  }
  printf("this is a %d (%lu bytes of memory)\n", best, (unsigned long)mnist_info()->context_bytes);
  return 0;
}
