"""The server's virtual terminal: its keyboard, its lamps, its beeper, and text on it."""
