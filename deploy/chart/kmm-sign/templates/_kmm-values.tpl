{{/* Values of KMM's charts, and what is set here in their place. */}}
{{- define "kmm-sign.kmmValues" -}}
namePrefix: "nothing: names do not depend on values"
labels: "controller.podLabels and webhook.podLabels"
kubernetesClusterDomain: "nothing: no name in the cluster is spelled out"
managerConfig: "configuration, as YAML and not as a text"
controllerMetricsService: "nothing: the service is always kmm-operator-controller-metrics-service, port 8443"
webhookService: "nothing: the service is always kmm-operator-webhook-service, port 443"
webhookServer: "webhook"
controller.image: "image.repository and image.tag"
controller.imagePullPolicy: "image.pullPolicy"
controller.manager: "image, imagePullSecrets, images, configuration and controller.resources"
controller.managed: "mode: spoke"
controller.managerConfig: "configuration; without it, the ConfigMap kmm-operator-manager-config is read"
controller.workerImage: "nothing: there are no worker pods"
controller.signerImage: "images.sign"
controller.buildImage: "images.build"
controller.nodeAffinity: "controller.affinity"
controller.serviceAccount: "nothing: the account is kmm-operator-controller"
{{- end }}

{{/* Refuses values of KMM's charts, and names ours. */}}
{{- define "kmm-sign.refuseKmmValues" -}}
{{- $found := list -}}
{{- range $path, $ours := include "kmm-sign.kmmValues" . | fromYaml -}}
{{- $names := splitList "." $path -}}
{{- $values := len $names | eq 2 | ternary (index $.Values (first $names) | default dict) $.Values -}}
{{- if hasKey $values (last $names) -}}
{{- $found = append $found (printf "%s (here: %s)" $path $ours) -}}
{{- end -}}
{{- end -}}
{{- with $found -}}
{{- fail (printf "these are values of KMM's chart: %s. See docs/migrating-from-kmm.md" (join "; " .)) -}}
{{- end -}}
{{- end }}
