"""The parts of the `stad-eval` command, one file each: arguments, and what is done with them."""
