// Device code has what it can use of this header without an include.
#pragma once
