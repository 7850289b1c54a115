// What this header declares on a GPU, the emulator's language has without an include.
#pragma once
