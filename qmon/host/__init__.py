"""The host's side of a VM's network: taps, bridges, masquerading.

In the order in which a change passes: `state` looks at the host, `taps` and `bridges` plan what is to be done and what
takes it back, `steps` are the single deeds, `journal` sees to it that each change is whole or taken back, `kernel` does
them.
"""
