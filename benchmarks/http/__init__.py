"""What the API itself costs, beside a bare route with the same SQL, an empty route, and `cp`.

`python -m benchmarks.http` starts its own PostgreSQL and its own servers and writes
benchmarks/results/http.json and http.md.
"""
