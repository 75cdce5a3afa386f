"""The guest manager: `loop` looks, `decision` and `verdict` decide, everything else is an eye, a hand or a memory."""
