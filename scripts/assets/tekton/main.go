// Reads a Task or a StepAction as YAML from standard input, sets the defaults of Tekton, and validates it as Tekton's
// admission webhook does. Fields that Tekton does not know are errors too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

type resource interface {
	apis.Defaultable
	apis.Validatable
}

func validate(text []byte) error {
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return err
	}
	var object resource
	switch kind.APIVersion + " " + kind.Kind {
	case "tekton.dev/v1 Task":
		object = &v1.Task{}
	case "tekton.dev/v1beta1 StepAction":
		object = &v1beta1.StepAction{}
	default:
		return fmt.Errorf("%s %s is neither a Task nor a StepAction", kind.APIVersion, kind.Kind)
	}
	document, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(document, object)
	if err = errors.Join(append(unknown, err)...); err != nil {
		return err
	}
	ctx := apis.WithinCreate(context.Background())
	object.SetDefaults(ctx)
	if err := object.Validate(ctx); err != nil {
		return err
	}
	return nil
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = validate(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
