// Open Cluster Management's work agent. Its own archive names a vendor folder that it lacks.
module assets

go 1.23.6

require open-cluster-management.io/ocm v1.0.0
