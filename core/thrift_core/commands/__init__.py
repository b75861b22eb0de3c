"""The subcommands of `thrift`, one to a module; each adds its parser with `add`."""
