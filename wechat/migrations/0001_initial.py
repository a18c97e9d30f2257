import core.secrets
import django.contrib.postgres.fields
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('pghistory', '0007_auto_20250421_0444'),
    ]

    operations = [
        migrations.CreateModel(
            name='OutboundBody',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('content', models.JSONField(verbose_name='content')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
            ],
            options={
                'verbose_name': 'message content',
                'verbose_name_plural': 'message contents',
            },
        ),
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('service', 'service account'), ('subscription', 'subscription account'), ('work', 'WeCom'), ('pay', 'WeChat Pay')], max_length=12, verbose_name='kind')),
                ('key', models.SlugField(help_text='Part of the webhook address.', max_length=40, verbose_name='key')),
                ('name', models.CharField(blank=True, max_length=80, verbose_name='name')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('appid', models.CharField(blank=True, help_text='Pay: the account that takes payments.', max_length=64, verbose_name='appid')),
                ('corpid', models.CharField(blank=True, max_length=64, verbose_name='corpid')),
                ('agentid', models.CharField(blank=True, max_length=32, verbose_name='agentid')),
                ('mchid', models.CharField(blank=True, max_length=32, verbose_name='mchid')),
                ('secret', core.secrets.SecretField(blank=True, verbose_name='secret')),
                ('token', core.secrets.SecretField(blank=True, verbose_name='callback token')),
                ('aes_key', core.secrets.SecretField(blank=True, verbose_name='EncodingAESKey')),
                ('mode', models.CharField(choices=[('plain', 'plain text'), ('compatible', 'compatible'), ('safe', 'safe (AES)')], default='safe', max_length=12, verbose_name='callback mode')),
                ('apiv3_key', core.secrets.SecretField(blank=True, verbose_name='APIv3 key')),
                ('merchant_key', core.secrets.SecretField(blank=True, verbose_name='merchant private key (PEM)')),
                ('merchant_serial', models.CharField(blank=True, max_length=64, verbose_name='merchant certificate serial')),
                ('public_key', models.TextField(blank=True, verbose_name='WeChat Pay public key (PEM)')),
                ('public_key_id', models.CharField(blank=True, max_length=80, verbose_name='public key id')),
                ('api_base', models.URLField(blank=True, help_text="Empty: the vendor's own.", verbose_name='API base address')),
                ('jssdk_url', models.URLField(blank=True, help_text="Empty: the vendor's own.", verbose_name='JS-SDK address')),
                ('daily_limits', models.JSONField(blank=True, default=dict, help_text='Messages a day by channel, where the platform grants other numbers: {"template": 100000}.', verbose_name='daily limits')),
            ],
            options={
                'verbose_name': 'WeChat account',
                'verbose_name_plural': 'WeChat accounts',
                'constraints': [models.UniqueConstraint(fields=('kind', 'key'), name='account_key_once_per_kind'), models.UniqueConstraint(condition=models.Q(('kind__in', ['service', 'subscription'])), fields=('key',), name='official_account_key_names_one_webhook')],
            },
        ),
        migrations.CreateModel(
            name='AccountEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('kind', models.CharField(choices=[('service', 'service account'), ('subscription', 'subscription account'), ('work', 'WeCom'), ('pay', 'WeChat Pay')], max_length=12, verbose_name='kind')),
                ('key', models.SlugField(db_index=False, help_text='Part of the webhook address.', max_length=40, verbose_name='key')),
                ('name', models.CharField(blank=True, max_length=80, verbose_name='name')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('appid', models.CharField(blank=True, help_text='Pay: the account that takes payments.', max_length=64, verbose_name='appid')),
                ('corpid', models.CharField(blank=True, max_length=64, verbose_name='corpid')),
                ('agentid', models.CharField(blank=True, max_length=32, verbose_name='agentid')),
                ('mchid', models.CharField(blank=True, max_length=32, verbose_name='mchid')),
                ('mode', models.CharField(choices=[('plain', 'plain text'), ('compatible', 'compatible'), ('safe', 'safe (AES)')], default='safe', max_length=12, verbose_name='callback mode')),
                ('merchant_serial', models.CharField(blank=True, max_length=64, verbose_name='merchant certificate serial')),
                ('public_key', models.TextField(blank=True, verbose_name='WeChat Pay public key (PEM)')),
                ('public_key_id', models.CharField(blank=True, max_length=80, verbose_name='public key id')),
                ('api_base', models.URLField(blank=True, help_text="Empty: the vendor's own.", verbose_name='API base address')),
                ('jssdk_url', models.URLField(blank=True, help_text="Empty: the vendor's own.", verbose_name='JS-SDK address')),
                ('daily_limits', models.JSONField(blank=True, default=dict, help_text='Messages a day by channel, where the platform grants other numbers: {"template": 100000}.', verbose_name='daily limits')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='wechat.account')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='ChannelUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(max_length=10, verbose_name='channel')),
                ('day', models.DateField(verbose_name='day')),
                ('used', models.PositiveIntegerField(default=0, verbose_name='used')),
                ('paused_until', models.DateTimeField(null=True, verbose_name='paused until')),
                ('pause_reason', models.CharField(blank=True, max_length=300, verbose_name='reason of the pause')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='wechat.account', verbose_name='WeChat account')),
            ],
            options={
                'verbose_name': 'daily use',
                'verbose_name_plural': 'daily use',
                'constraints': [models.UniqueConstraint(fields=('account', 'channel', 'day'), name='one_use_per_channel_and_day')],
            },
        ),
        migrations.CreateModel(
            name='MassUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('month', models.DateField(verbose_name='month')),
                ('recipient', models.CharField(max_length=64, verbose_name='recipient')),
                ('used', models.PositiveSmallIntegerField(default=0, verbose_name='used')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='wechat.account', verbose_name='WeChat account')),
            ],
            options={
                'verbose_name': 'mass message use',
                'verbose_name_plural': 'mass message use',
                'constraints': [models.UniqueConstraint(fields=('account', 'month', 'recipient'), name='one_mass_use_per_person_and_month')],
            },
        ),
        migrations.CreateModel(
            name='Notice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('fingerprint', models.UUIDField(help_text='Hash of all that identifies the notice.', verbose_name='fingerprint')),
                ('topic', models.CharField(max_length=80, verbose_name='topic')),
                ('sender', models.CharField(blank=True, max_length=128, verbose_name='sender')),
                ('body', models.BinaryField(verbose_name='body as received')),
                ('content', models.TextField(blank=True, verbose_name='decrypted content')),
                ('headers', models.JSONField(default=dict, verbose_name='headers')),
                ('received_at', models.DateTimeField(verbose_name='arrived at')),
                ('deliveries', models.PositiveIntegerField(default=1, verbose_name='deliveries')),
                ('last_received_at', models.DateTimeField(verbose_name='last arrived at')),
                ('status', models.CharField(choices=[('new', 'waiting'), ('done', 'done'), ('ignored', 'ignored'), ('failed', 'given up')], default='new', max_length=8, verbose_name='status')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='tries')),
                ('next_attempt_at', models.DateTimeField(verbose_name='next attempt at')),
                ('handler', models.CharField(blank=True, max_length=80, verbose_name='handled by')),
                ('error', models.TextField(blank=True, verbose_name='error')),
                ('handled_at', models.DateTimeField(null=True, verbose_name='handled at')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='wechat.account', verbose_name='WeChat account')),
            ],
            options={
                'verbose_name': 'notice',
                'verbose_name_plural': 'notices',
                'indexes': [models.Index(condition=models.Q(('status', 'new')), fields=['next_attempt_at', 'id'], name='notice_due'), models.Index(condition=models.Q(('status', 'failed')), fields=['id'], name='notice_given_up')],
                'constraints': [models.UniqueConstraint(fields=('account', 'fingerprint'), name='notice_is_stored_once')],
            },
        ),
        migrations.CreateModel(
            name='OutboundBatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(max_length=10, verbose_name='channel')),
                ('client_id', models.CharField(max_length=64, unique=True, verbose_name='idempotency key')),
                ('platform_id', models.CharField(blank=True, max_length=64, verbose_name='platform id')),
                ('state', models.CharField(choices=[('sending', 'sending'), ('sent', 'handed over'), ('done', 'finished'), ('failed', 'failed'), ('unknown', 'outcome unknown')], default='sending', max_length=8, verbose_name='state')),
                ('recipients', models.PositiveIntegerField(default=0, verbose_name='recipients')),
                ('result', models.JSONField(blank=True, default=dict, verbose_name='result')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
                ('checked_at', models.DateTimeField(null=True, verbose_name='checked at')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='wechat.account', verbose_name='WeChat account')),
                ('body', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='wechat.outboundbody', verbose_name='content')),
            ],
            options={
                'verbose_name': 'mass sending',
                'verbose_name_plural': 'mass sendings',
                'indexes': [models.Index(condition=models.Q(('platform_id', ''), _negated=True), fields=['account', 'platform_id'], name='batch_by_platform_id'), models.Index(condition=models.Q(('state', 'sent')), fields=['checked_at'], name='batch_unfinished')],
            },
        ),
        migrations.CreateModel(
            name='ReplyWindow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('openid', models.CharField(max_length=64, verbose_name='openid')),
                ('trigger', models.CharField(choices=[('message', 'message'), ('menu', 'menu click'), ('follow', 'follow'), ('scan', 'scan')], max_length=8, verbose_name='trigger')),
                ('opened_at', models.DateTimeField(verbose_name='opened at')),
                ('expires_at', models.DateTimeField(verbose_name='expires at')),
                ('remaining', models.PositiveSmallIntegerField(verbose_name='remaining')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='wechat.account', verbose_name='WeChat account')),
            ],
            options={
                'verbose_name': 'reply window',
                'verbose_name_plural': 'reply windows',
                'indexes': [models.Index(condition=models.Q(('remaining__gt', 0)), fields=['account', 'expires_at'], name='reply_window_open')],
                'constraints': [models.UniqueConstraint(fields=('account', 'openid', 'trigger'), name='one_reply_window_per_person_and_trigger')],
            },
        ),
        migrations.CreateModel(
            name='SubscriptionQuota',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('openid', models.CharField(max_length=64, verbose_name='openid')),
                ('template_id', models.CharField(max_length=64, verbose_name='template')),
                ('accepted_ats', django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), default=list, size=None)),
                ('refused_at', models.DateTimeField(null=True, verbose_name='refused at')),
                ('remaining', models.PositiveIntegerField(default=0, verbose_name='remaining')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='wechat.account', verbose_name='WeChat account')),
            ],
            options={
                'verbose_name': 'subscription quota',
                'verbose_name_plural': 'subscription quotas',
                'constraints': [models.UniqueConstraint(fields=('account', 'template_id', 'openid'), name='one_subscription_quota_per_person')],
            },
        ),
        migrations.CreateModel(
            name='AccessToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=8)),
                ('value', core.secrets.SecretField(blank=True)),
                ('fetched_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('failed_at', models.DateTimeField(null=True)),
                ('failure_code', models.CharField(blank=True, max_length=40)),
                ('failure_detail', models.CharField(blank=True, max_length=300)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='wechat.account', verbose_name='WeChat account')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('account', 'kind'), name='one_token_per_account_and_kind')],
            },
        ),
        migrations.CreateModel(
            name='OutboundMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(choices=[('custom', 'customer-service message'), ('template', 'template message'), ('subscribe', 'subscription notification'), ('mass', 'mass message'), ('welcome', 'WeCom welcome'), ('work_mass', 'WeCom mass message')], max_length=10, verbose_name='channel')),
                ('to', models.CharField(db_column='recipient', max_length=128, verbose_name='recipient')),
                ('vars', models.JSONField(null=True, verbose_name='values')),
                ('origin', models.CharField(max_length=60, verbose_name='origin')),
                ('origin_id', models.BigIntegerField(verbose_name='row of the origin')),
                ('dedupe_key', models.CharField(max_length=120, null=True, verbose_name='once per')),
                ('state', models.CharField(choices=[('pending', 'waiting'), ('held', 'held'), ('sending', 'sending'), ('sent', 'sent'), ('failed', 'failed'), ('unknown', 'outcome unknown'), ('cancelled', 'cancelled')], default='pending', max_length=9, verbose_name='state')),
                ('is_urgent', models.BooleanField(default=False, verbose_name='urgent')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='tries')),
                ('next_attempt_at', models.DateTimeField(verbose_name='next attempt at')),
                ('lease_until', models.DateTimeField(null=True, verbose_name='claimed until')),
                ('reason_code', models.CharField(blank=True, max_length=40, verbose_name='reason code')),
                ('reason', models.CharField(blank=True, max_length=300, verbose_name='reason')),
                ('platform_id', models.CharField(blank=True, max_length=64, verbose_name='platform id')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
                ('sent_at', models.DateTimeField(null=True, verbose_name='sent at')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='wechat.account', verbose_name='WeChat account')),
                ('batch', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='wechat.outboundbatch', verbose_name='mass sending')),
                ('body', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='wechat.outboundbody', verbose_name='content')),
            ],
            options={
                'verbose_name': 'outgoing message',
                'verbose_name_plural': 'outgoing messages',
                'indexes': [models.Index(condition=models.Q(('state', 'pending')), fields=['account', 'channel', 'next_attempt_at', 'id'], name='outbound_waiting'), models.Index(condition=models.Q(('is_urgent', True), ('state', 'pending')), fields=['next_attempt_at'], name='outbound_urgent'), models.Index(condition=models.Q(('state', 'sending')), fields=['lease_until'], name='outbound_in_flight'), models.Index(condition=models.Q(('platform_id', ''), _negated=True), fields=['account', 'platform_id'], name='outbound_by_platform_id'), models.Index(condition=models.Q(('batch', None), _negated=True), fields=['batch', 'to'], name='outbound_of_batch')],
                'constraints': [models.UniqueConstraint(fields=('origin', 'origin_id'), name='origin_sends_a_row_once'), models.UniqueConstraint(condition=models.Q(('dedupe_key', None), _negated=True), fields=('dedupe_key',), name='message_once_per_dedupe_key')],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='account',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "wechat_accountevent" ("agentid", "api_base", "appid", "corpid", "daily_limits", "id", "is_active", "jssdk_url", "key", "kind", "mchid", "merchant_serial", "mode", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "public_key", "public_key_id") VALUES (NEW."agentid", NEW."api_base", NEW."appid", NEW."corpid", NEW."daily_limits", NEW."id", NEW."is_active", NEW."jssdk_url", NEW."key", NEW."kind", NEW."mchid", NEW."merchant_serial", NEW."mode", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."public_key", NEW."public_key_id"); RETURN NULL;', hash='e54db28b5a05659c57c300133bd0dee9420fdbc9', operation='INSERT', pgid='pgtrigger_insert_insert_0e308', table='wechat_account', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='account',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."agentid" IS DISTINCT FROM (NEW."agentid") OR OLD."api_base" IS DISTINCT FROM (NEW."api_base") OR OLD."appid" IS DISTINCT FROM (NEW."appid") OR OLD."corpid" IS DISTINCT FROM (NEW."corpid") OR OLD."daily_limits" IS DISTINCT FROM (NEW."daily_limits") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."jssdk_url" IS DISTINCT FROM (NEW."jssdk_url") OR OLD."key" IS DISTINCT FROM (NEW."key") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."mchid" IS DISTINCT FROM (NEW."mchid") OR OLD."merchant_serial" IS DISTINCT FROM (NEW."merchant_serial") OR OLD."mode" IS DISTINCT FROM (NEW."mode") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."public_key" IS DISTINCT FROM (NEW."public_key") OR OLD."public_key_id" IS DISTINCT FROM (NEW."public_key_id"))', func='INSERT INTO "wechat_accountevent" ("agentid", "api_base", "appid", "corpid", "daily_limits", "id", "is_active", "jssdk_url", "key", "kind", "mchid", "merchant_serial", "mode", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "public_key", "public_key_id") VALUES (NEW."agentid", NEW."api_base", NEW."appid", NEW."corpid", NEW."daily_limits", NEW."id", NEW."is_active", NEW."jssdk_url", NEW."key", NEW."kind", NEW."mchid", NEW."merchant_serial", NEW."mode", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."public_key", NEW."public_key_id"); RETURN NULL;', hash='719db4d55ec59d62a464105b3079cce9b5ba2c27', operation='UPDATE', pgid='pgtrigger_update_update_7af5e', table='wechat_account', when='AFTER')),
        ),
    ]
