"""The RPM factory: from the checkout's specs to a repository that dnf installs from. `ci/rpms` is its command."""
