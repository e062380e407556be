{{- define "clouddesktop.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "clouddesktop.selector" -}}
app.kubernetes.io/name: clouddesktop
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "clouddesktop.labels" -}}
{{ include "clouddesktop.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "clouddesktop.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Every name that the service is reached by: all servers have the same certificate names. */}}
{{- define "clouddesktop.names" -}}
{{- $service := printf "%s-api" (include "clouddesktop.name" .) -}}
{{- $namespaced := printf "%s.%s" $service .Release.Namespace -}}
{{- concat .Values.names (list (printf "%s.svc.cluster.local" $namespaced) (printf "%s.svc" $namespaced) $namespaced $service) | toJson -}}
{{- end -}}

{{- define "clouddesktop.pod" -}}
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "clouddesktop.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
{{- end -}}

{{- define "clouddesktop.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Secrets as files of the program's own: it refuses keys that others may read. Workers get no authority. */}}
{{- define "clouddesktop.prepare" -}}
{{- $isServer := eq .component "api" -}}
{{- with .root -}}
{{- if or $isServer .Values.encryption.existingSecret -}}
initContainers:
- name: prepare
  image: {{ include "clouddesktop.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - /bin/sh
    - -ec
    - |
      umask 077
      {{- if $isServer }}
      mkdir -p /var/lib/clouddesktop/data/tls
      cp /secrets/tls/ca.pem /secrets/tls/ca.key /var/lib/clouddesktop/data/tls/
      {{- end }}
      {{- if .Values.encryption.existingSecret }}
      cp /secrets/encryption/keys /keys/keys
      {{- end }}
  securityContext: {{- include "clouddesktop.containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    - {name: data, mountPath: /var/lib/clouddesktop}
    {{- if $isServer }}
    - {name: tls, mountPath: /secrets/tls, readOnly: true}
    {{- end }}
    {{- if .Values.encryption.existingSecret }}
    - {name: encryption, mountPath: /secrets/encryption, readOnly: true}
    - {name: keys, mountPath: /keys}
    {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "clouddesktop.environment" -}}
env:
  - {name: CLOUDDESKTOP_DATA_DIR, value: /var/lib/clouddesktop/data}
  - {name: CLOUDDESKTOP_CONFIG, value: /etc/clouddesktop/clouddesktop.toml}
  - name: CLOUDDESKTOP_DATABASE
    valueFrom:
      secretKeyRef: {name: {{ .Values.database.existingSecret | quote }}, key: url}
  - {name: CLOUDDESKTOP_NAMES, value: {{ include "clouddesktop.names" . | quote }}}
  - {name: CLOUDDESKTOP_STORE, value: {{ .Values.store.url | quote }}}
  {{- if .Values.encryption.existingSecret }}
  - {name: CLOUDDESKTOP_ENCRYPTION_KEYS, value: /keys/keys}
  {{- end }}
{{- with .Values.store.existingSecret }}
envFrom:
  - secretRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "clouddesktop.mounts" -}}
volumeMounts:
  - {name: data, mountPath: /var/lib/clouddesktop}
  - {name: config, mountPath: /etc/clouddesktop, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.encryption.existingSecret }}
  - {name: keys, mountPath: /keys, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "clouddesktop.volumes" -}}
volumes:
  - name: config
    configMap: {name: {{ include "clouddesktop.name" . }}}
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  {{- with .Values.encryption.existingSecret }}
  - name: encryption
    secret: {secretName: {{ . | quote }}}
  - name: keys
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  {{- end }}
{{- end -}}

{{- define "clouddesktop.claim" -}}
volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .className }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources:
        requests: {storage: {{ .size | quote }}}
{{- end -}}

{{- define "clouddesktop.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
