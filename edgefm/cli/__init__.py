"""The command line: one module a command, each calls one public function of the same name."""
