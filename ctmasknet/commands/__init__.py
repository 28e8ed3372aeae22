"""The subcommands of `ctmasknet`; they stand above all rooms and use them."""
