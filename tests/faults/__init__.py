"""Programs that break edgefm on purpose: damaged files, kills, full disks, attacks, hostile names.

    python -m tests.faults                       a new seed, five minutes on two cores (`make faults`)
    python -m tests.faults --long                all counts that docs/reliability.md promises; hours
    python -m tests.faults --seed 7 models       one kind, the same inputs as another time; or one part, `kill-train`
    python -m tests.faults --record              also writes benchmarks/results/faults.json, for docs/reliability.md

It prints a table, keeps failing inputs, each with HOW.txt, and ends with 1 where anything failed. `one_kind` runs one
kind in a process of its own, with its libraries loaded once; each try is a child that is forked from it, or a real
command, under limits of time and memory. A part first runs undamaged input and stops where that is not accepted: its
figures would mean nothing.
"""
