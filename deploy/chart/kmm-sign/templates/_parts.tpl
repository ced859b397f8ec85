{{/* How all names begin. They do not depend on the release: a cluster has one operator, and one of a hub. */}}
{{- define "kmm-sign.name" -}}
{{ eq .Values.mode "hub" | ternary "kmm-operator-hub" "kmm-operator" }}
{{- end }}

{{/* Labels of everything. */}}
{{- define "kmm-sign.labels" -}}
app.kubernetes.io/name: {{ include "kmm-sign.name" . }}
app.kubernetes.io/part-of: kmm
{{- end }}

{{/* The image of the operator. */}}
{{- define "kmm-sign.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The image that loads modules. */}}
{{- define "kmm-sign.loaderImage" -}}
{{ .Values.image.repository }}-loader:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* controller_config.yaml; empty where defaults do. */}}
{{- define "kmm-sign.configuration" -}}
{{- $configuration := deepCopy .Values.configuration -}}
{{- if and .Values.webhook.enabled .Values.certManager.enabled -}}
{{- $folder := dict "webhook" (dict "certDir" "/run/kmm-operator/certificate") -}}
{{- $configuration = mergeOverwrite $configuration $folder -}}
{{- end -}}
{{- with $configuration }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* Where and how pods are run: pods (values of the pods), pullSecrets (names), name and component. */}}
{{- define "kmm-sign.scheduling" -}}
{{- with .pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .pods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pods.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pods.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pods.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not (hasKey . "labelSelector") }}
    labelSelector:
      matchLabels:
        app.kubernetes.io/name: {{ $.name }}
        app.kubernetes.io/component: {{ $.component }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* An object of Node Feature Discovery with the values of this chart: object and root. */}}
{{- define "kmm-sign.nfdObject" -}}
{{- $object := .object }}
{{- $values := .root.Values }}
{{- $namespace := "openshift-nfd" }}
{{- $labels := dict "app.kubernetes.io/name" "kmm-operator-nfd" "app.kubernetes.io/part-of" "kmm" }}
{{- $_ := set $object.metadata "labels" (merge (default dict $object.metadata.labels) $labels) }}
{{- if not (has $object.kind (list "Namespace" "ClusterRole" "ClusterRoleBinding")) }}
{{- $_ := set $object.metadata "namespace" $namespace }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "namespace" $namespace }}
{{- end }}
{{- if and (eq $object.kind "Namespace") $values.openshift.enabled }}
{{- $_ := set $object.metadata.labels "security.openshift.io/scc.podSecurityLabelSync" "false" }}
{{- end }}
{{- if eq $object.kind "Deployment" }}
{{- $pods := $object.spec.template.spec }}
{{- with $values.imagePullSecrets }}
{{- $names := list }}
{{- range . }}{{ $names = append $names (dict "name" .) }}{{ end }}
{{- $_ := set $pods "imagePullSecrets" $names }}
{{- end }}
{{- range $container := $pods.containers }}
{{- $_ := set $container "image" (include "kmm-sign.image" $.root) }}
{{- with $values.image.pullPolicy }}
{{- $_ := set $container "imagePullPolicy" . }}
{{- end }}
{{- with $values.nfd.image }}
{{- $_ := set $container "env" (append $container.env (dict "name" "RELATED_IMAGE_NODE_FEATURE_DISCOVERY" "value" .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $object }}
{{- end }}
