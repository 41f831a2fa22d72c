{{- define "doppel.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Takes (list ROOT ROLE). */}}
{{- define "doppel.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Takes (list ROOT ROLE). */}}
{{- define "doppel.labels" -}}
{{ include "doppel.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{/* Takes (list ROOT NAME): the reference of one of the images. */}}
{{- define "doppel.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ index $image (index . 1) }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end }}

{{- define "doppel.redisSecret" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "doppel.name" .)) }}
{{- end }}

{{- define "doppel.claim" -}}
{{ .Values.persistence.existingClaim | default (printf "%s-data" (include "doppel.name" .)) }}
{{- end }}

{{/* Takes (list ROOT ROLE): what the pods of all roles have in common, but containers. */}}
{{- define "doppel.pod" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Takes (list ROOT ROLE IMAGE): what the containers of all roles have in common, but settings and probes. */}}
{{- define "doppel.container" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
name: {{ index . 1 }}
image: {{ include "doppel.image" (list $root (index . 2)) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [doppel, {{ index . 1 }}]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  requests: {{- toYaml $values.resources.requests | nindent 4 }}
  limits:
    {{- toYaml $values.resources.limits | nindent 4 }}
    {{- if $values.gpu }}
    nvidia.com/gpu: {{ $values.gpu }}
    {{- end }}
volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{/* Settings that all roles have. */}}
{{- define "doppel.env" -}}
- name: DOPPEL_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ include "doppel.redisSecret" . }}, key: url}
- {name: DOPPEL_LOG_FORMAT, value: json}
{{- range $name, $value := .Values.settings }}
- {name: {{ printf "DOPPEL_%s" $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: {{ $.Values.tracing.sampler | quote }}}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ $.Values.tracing.samplerArg | quote }}}
{{- end }}
{{- end }}

{{- define "doppel.volumes" -}}
- name: data
  persistentVolumeClaim: {claimName: {{ include "doppel.claim" . }}}
- name: tmp
  emptyDir: {}
{{- end }}

{{/* Takes the role: probes of a process that reports itself to Redis. They start Python, so they are few and patient. */}}
{{- define "doppel.reporting" -}}
startupProbe:
  exec: {command: [python, -m, worker.health, {{ . }}]}
  periodSeconds: 10
  timeoutSeconds: 20
  failureThreshold: 30
livenessProbe:
  exec: {command: [python, -m, worker.health, {{ . }}]}
  periodSeconds: 30
  timeoutSeconds: 20
  failureThreshold: 4
{{- end }}
