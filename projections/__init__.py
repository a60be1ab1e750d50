"""The middle floor: tables built from the log, each at its own pace, and the questions that they answer."""
