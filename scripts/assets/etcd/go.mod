// etcd, with the modules of its own tree as they are published.
module assets

go 1.26.0

require go.etcd.io/etcd/server/v3 v3.7.3
