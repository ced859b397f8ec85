// Watches NodeModulesConfigs as the operators of vendors do, with controller-runtime, and prints for each change which
// Modules a node has: those whose configuration is loaded as it should be, in this boot of the node.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	options "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

type entry struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace"`
	Config    map[string]any `json:"config,omitempty"`
	BootID    string         `json:"bootId,omitempty"`
}

type half struct {
	Modules []entry `json:"modules,omitempty"`
}

type nodeModulesConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              half `json:"spec,omitempty"`
	Status            half `json:"status,omitempty"`
}

type nodeModulesConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []nodeModulesConfig `json:"items"`
}

func copyOf[T any](from *T) *T {
	text, err := json.Marshal(from)
	if err != nil {
		panic(err)
	}
	var to T
	if err := json.Unmarshal(text, &to); err != nil {
		panic(err)
	}
	return &to
}

func (n *nodeModulesConfig) DeepCopyObject() runtime.Object     { return copyOf(n) }
func (n *nodeModulesConfigList) DeepCopyObject() runtime.Object { return copyOf(n) }

type line struct {
	Node   string            `json:"node"`
	Loaded map[string]string `json:"loaded"`
}

type reconciler struct{ client client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	found := line{Node: request.Name, Loaded: map[string]string{}}
	nmc, node := &nodeModulesConfig{}, &corev1.Node{}
	if err := r.client.Get(ctx, request.NamespacedName, nmc); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if err := r.client.Get(ctx, request.NamespacedName, node); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	for _, wanted := range nmc.Spec.Modules {
		for _, has := range nmc.Status.Modules {
			if has.Name == wanted.Name && has.Namespace == wanted.Namespace &&
				has.BootID == node.Status.NodeInfo.BootID && reflect.DeepEqual(has.Config, wanted.Config) {
				found.Loaded[has.Namespace+"/"+has.Name] = fmt.Sprint(has.Config["containerImage"])
			}
		}
	}
	return ctrl.Result{}, json.NewEncoder(os.Stdout).Encode(found)
}

func main() {
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	version := schema.GroupVersion{Group: "kmm.sigs.x-k8s.io", Version: "v1beta1"}
	scheme.AddKnownTypeWithName(version.WithKind("NodeModulesConfig"), &nodeModulesConfig{})
	scheme.AddKnownTypeWithName(version.WithKind("NodeModulesConfigList"), &nodeModulesConfigList{})
	metav1.AddToGroupVersion(scheme, version)
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: "0"},
		// By default it takes two minutes to end for want of a definition.
		Controller: options.Controller{CacheSyncTimeout: 5 * time.Second},
	})
	if err != nil {
		return err
	}
	watcher := &reconciler{client: manager.GetClient()}
	if err := ctrl.NewControllerManagedBy(manager).For(&nodeModulesConfig{}).Complete(watcher); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
