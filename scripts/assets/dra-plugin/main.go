// The smallest kubelet plugin for dynamic resource allocation that a kubelet, a scheduler and a container runtime can
// be seen to work with: it publishes one device of its node, and gives it to containers by CDI as the file /dev/NAME.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

var (
	driver = flag.String("driver", "", "name of the driver")
	device = flag.String("device", "device0", "name of its device, and of the file in containers")
	source = flag.String("source", "/dev/zero", "the device's file on the node")
)

type plugin struct {
	stop context.CancelFunc
}

func (plugin) kind() string { return *driver + "/device" }

func (p plugin) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	prepared := make(map[types.UID]kubeletplugin.PrepareResult)
	for _, claim := range claims {
		var devices []kubeletplugin.Device
		for _, one := range claim.Status.Allocation.Devices.Results {
			if one.Driver == *driver {
				id := p.kind() + "=" + one.Device
				devices = append(devices, kubeletplugin.Device{Requests: []string{one.Request}, PoolName: one.Pool, DeviceName: one.Device, CDIDeviceIDs: []string{id}})
			}
		}
		prepared[claim.UID] = kubeletplugin.PrepareResult{Devices: devices}
	}
	return prepared, nil
}

func (plugin) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	unprepared := make(map[types.UID]error)
	for _, claim := range claims {
		unprepared[claim.UID] = nil
	}
	return unprepared, nil
}

func (p plugin) HandleError(_ context.Context, err error, message string) {
	fmt.Fprintln(os.Stderr, message, err)
	if !errors.Is(err, kubeletplugin.ErrRecoverable) {
		p.stop()
	}
}

// specification returns what the container runtime does for a container with the device (CDI).
func (p plugin) specification() any {
	type object = map[string]any
	node := object{"path": "/dev/" + *device, "hostPath": *source, "type": "c", "permissions": "rw"}
	edits := object{"deviceNodes": []any{node}, "env": []string{"DEVICE=" + *device}}
	return object{"cdiVersion": "0.6.0", "kind": p.kind(), "devices": []any{object{"name": *device, "containerEdits": edits}}}
}

// serveHealth answers the liveness probe of the operator's DaemonSet.
func serveHealth(port string) (*grpc.Server, error) {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return nil, err
	}
	state := health.NewServer()
	state.SetServingStatus("liveness", healthapi.HealthCheckResponse_SERVING)
	server := grpc.NewServer()
	healthapi.RegisterHealthServer(server, state)
	go server.Serve(listener)
	return server, nil
}

func run() error {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p := plugin{stop: stop}
	text, err := json.Marshal(p.specification())
	if err != nil {
		return err
	}
	file := filepath.Join(os.Getenv("CDI_ROOT"), *driver+".json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	defer os.Remove(file)
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	data := filepath.Join(os.Getenv("KUBELET_PLUGINS_DIRECTORY_PATH"), *driver)
	if err := os.MkdirAll(data, 0o750); err != nil {
		return err
	}
	node := os.Getenv("NODE_NAME")
	helper, err := kubeletplugin.Start(ctx, p,
		kubeletplugin.DriverName(*driver),
		kubeletplugin.NodeName(node),
		kubeletplugin.KubeClient(client),
		kubeletplugin.RegistrarDirectoryPath(os.Getenv("KUBELET_REGISTRAR_DIRECTORY_PATH")),
		kubeletplugin.PluginDataDirectoryPath(data),
	)
	if err != nil {
		return err
	}
	defer helper.Stop()
	server, err := serveHealth(os.Getenv("HEALTHCHECK_PORT"))
	if err != nil {
		return err
	}
	defer server.Stop()
	slice := resourceslice.Slice{Devices: []resourceapi.Device{{Name: *device}}}
	pools := map[string]resourceslice.Pool{node: {Slices: []resourceslice.Slice{slice}}}
	if err := helper.PublishResources(ctx, resourceslice.DriverResources{Pools: pools}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
