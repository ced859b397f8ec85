// Node Feature Discovery. Its go.mod file refers to a module of its own tree that its archive lacks.
module assets

go 1.26

require sigs.k8s.io/node-feature-discovery v0.19.0

replace sigs.k8s.io/node-feature-discovery/api/nfd => sigs.k8s.io/node-feature-discovery/api/nfd v0.19.0
