"""The subcommands of `ctmasknet`."""
