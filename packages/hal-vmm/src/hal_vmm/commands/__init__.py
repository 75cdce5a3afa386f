"""One module per verb of ``hal-vmm``; :mod:`hal_vmm.main` imports only the one that is asked for."""
