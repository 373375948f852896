"""The dashboard; draws snapshots, owns no logic. The only package that imports textual, and always late.

In the order in which what is drawn passes:

  run            from a command: which screen, and the order of the end
  app            the app: theme, keys everywhere, dialogs
  typed          keys in the order they were typed, each for what the ones before it opened
  terminal       the terminal itself, which may be slow or go away
  crash          what is left when the dashboard fails
  screens/       the chooser of VMs, the dashboard on one VM, the viewer of a file; `tabbed` is what the last two share
  moment         what a screen shows its panes, and the one way they are kept up to date
  panes/         what is under the tabs and around them, a file each
  network_lines  the network as lines of a tree
  columns        how the packet list shares out its width
  table, rows    lists: columns, and the cursor, keys and mouse under all of them
  braille        bars of the traffic's graph
  dialogs/       questions, a file each; `changing` is what the user wants done to the VM
  keys           which keys do something where the user is
  palette        the styles that widgets draw with, of the theme that is on
  themes         every colour
"""
