// The variable arguments that the runtime's interface mentions.
#pragma once

using va_list = __builtin_va_list;
