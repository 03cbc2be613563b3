"""Calls from here to servers that tenants name: the one place from which the service reaches out.

addresses   which addresses may be reached: what is global, and what the operator has listed
connecting  a name is resolved once, its addresses are checked, and a checked one is connected to
sending     one request: no redirects, a limit on time and on what is read
"""
