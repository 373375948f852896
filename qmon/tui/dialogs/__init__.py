"""Boxes over the screen, a file each, all made of `box`.

help           the keys of where one is
menu           one of several things
form           lines to fill in, checked before they are taken
confirm        the commands that will be sent, and what came of them
leaving        what would be lost
changing       a change of the VM, from the question to the outcome, out of the others
"""
