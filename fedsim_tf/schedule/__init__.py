"""Many runs as one plan: jobs that wait for one another, started as processes here or through a cluster's queue."""
