"""What packets tell beyond themselves.

addresses   which addresses each MAC has, and how that is known
sequence    TCP's numbers as people read them: counted from the conversation's begin, windows with their scale
segments    where the segments are in a batch
"""
