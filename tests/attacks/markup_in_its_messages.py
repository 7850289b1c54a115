# expect: RAISED
# layer: process
# Fails with a message, a type's name and a print that are terminal commands and HTML: to clear the line that says so,
# to rename a window, or to run a script in whoever's browser shows the feedback.

import torch

_SCRIPT = "<script>document.title='PASSED'</script><img src=x onerror=alert(1)>"
_ESCAPES = "\x1b[2J\x1b[1A\x1b[2K\x1b]0;PASSED\x07\x1b]8;;http://example.org\x1b\\PASSED\x1b]8;;\x1b\\\x9b31m\r\u202e"


def add(x, y):
    print(f"{_ESCAPES}{_SCRIPT}")
    raise type(f"{_SCRIPT}{_ESCAPES}", (Exception,), {})(f"{_ESCAPES}{_SCRIPT}\n{torch.__name__}")
