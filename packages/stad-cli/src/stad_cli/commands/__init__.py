"""The subcommands of `stad`, one file each."""
