"""What the untrusted process may touch: how strong a sandbox this machine allows, and how a worker is put into it."""
