"""Many runs as one plan: jobs with dependencies, run by one or several processes or by a cluster."""
