"""What packets tell beyond themselves.

addresses   which addresses each MAC has, and how that is known
"""
