"""Does a CRI runtime do what kubelets and the protocol ask of it? Checks that run against any endpoint.

Each check is a function with @check; modules beside this one group them by what they are about. Where critest is
silent (calls it never makes, figures, codes), these look; where it speaks, it should be run too.
"""
