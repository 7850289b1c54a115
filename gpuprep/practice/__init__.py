"""What a learner does beyond one check: where they stand, hints, solutions, a failing input again, the set-up."""
