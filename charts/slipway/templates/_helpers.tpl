{{/* Name of the objects. */}}
{{- define "slipway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "slipway.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "slipway.labels" -}}
{{ include "slipway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: slipway
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "slipway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "slipway.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name: name the account to use, because serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* As the API server names the account in requests. */}}
{{- define "slipway.username" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "slipway.serviceAccountName" .) -}}
{{- end -}}

{{- define "slipway.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The operator's configuration file. Which namespaces are served follows the rights. */}}
{{- define "slipway.config" -}}
{{- $namespaces := ternary (dict "namespaces" "all") (dict "namespaces" .Values.watchNamespaces) (empty .Values.watchNamespaces) -}}
{{- toYaml (merge $namespaces .Values.config) -}}
{{- end -}}

{{/* Admission policies bind where Slipway serves. */}}
{{- define "slipway.admissionScope" -}}
{{- with .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values:
          {{- toYaml . | nindent 10 }}
{{- end -}}
{{- end -}}

{{/* What Slipway may do in the namespaces it serves. */}}
{{- define "slipway.rules" -}}
- apiGroups: [slipway.dev]
  resources: [imagepolicies]
  verbs: [get, list, watch]
- apiGroups: [slipway.dev]
  resources: [imagepolicies/status, imagerollouts/status]
  verbs: [get, update, patch]
# To own rollouts where the API server enforces rights on the owner (OwnerReferencesPermissionEnforcement).
- apiGroups: [slipway.dev]
  resources: [imagepolicies/finalizers]
  verbs: [update]
- apiGroups: [slipway.dev]
  resources: [imagerollouts]
  verbs: [get, list, watch, create, delete]
# Decisions are people's to make; used ones are cleared away.
- apiGroups: [slipway.dev]
  resources: [imagedecisions]
  verbs: [get, list, watch, delete]
# The image field of the containers that a policy names, and one annotation.
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, watch, patch]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, patch]
{{- range .Values.config.workloadKinds }}
- apiGroups: [{{ .group | quote }}]
  resources: [{{ .plural | quote }}]
  verbs: [get, list, watch, patch]
{{- end }}
# The runs of CronJobs, and the Jobs of rollout.verify.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, create]
# Why a pod is not healthy, and which digest it runs.
- apiGroups: ['']
  resources: [pods]
  verbs: [get, list{{ if .Values.config.rollout.deleteStuckPods }}, delete{{ end }}]
# The addresses that rollout.verify asks.
- apiGroups: ['']
  resources: [services]
  verbs: [get]
{{- if .Values.config.requiredGates }}
# Which gates are required there goes by the labels of the namespace.
- apiGroups: ['']
  resources: [namespaces]
  verbs: [get]
{{- end }}
# Pull secrets and CA bundles that a policy names: one by one, never a list.
- apiGroups: ['']
  resources: [secrets, configmaps, serviceaccounts]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
