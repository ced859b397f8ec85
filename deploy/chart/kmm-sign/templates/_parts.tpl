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
