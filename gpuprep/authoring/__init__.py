"""What a curriculum author runs: `dev new`, `dev stubs`, `dev check`."""
