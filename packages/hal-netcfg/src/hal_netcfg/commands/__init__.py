"""One module per verb of ``hal netcfg``."""
