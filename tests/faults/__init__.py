"""What breaks, and what must still hold: black-box tests of the real process."""
