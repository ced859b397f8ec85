{{/* Labels of everything. Names do not depend on the release: a cluster has one operator. */}}
{{- define "kmm-sign.labels" -}}
app.kubernetes.io/name: kmm-operator
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

{{/* controller_config.yaml; empty where defaults do. */}}
{{- define "kmm-sign.configuration" -}}
{{- $configuration := deepCopy .Values.configuration -}}
{{- if and .Values.webhook.enabled .Values.certManager.enabled -}}
{{- $folder := dict "webhook" (dict "certDir" "/run/kmm-operator/certificate") -}}
{{- $configuration = mergeOverwrite $configuration $folder -}}
{{- end -}}
{{- with $configuration }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* Where and how pods are run: pods (values of the pods), pullSecrets (names). */}}
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
{{- end }}
